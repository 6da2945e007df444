# syntax=docker/dockerfile:1
# The server together with one project. The sample graphs, or the folder of your own langgraph.json:
#   docker build -t graphs .
#   docker build -t graphs --build-context project=../my-project .

# A build context named "project" takes the place of this stage.
FROM scratch AS project
COPY langgraph.json ./
COPY graphs ./graphs

FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Installed from outside: the image needs no pip of its own.
ENV PIP_PYTHON=/opt/graphwire/bin/python
RUN python -m venv --without-pip /opt/graphwire
WORKDIR /src
COPY requirements.lock ./
RUN pip install -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY server ./server
RUN pip install --no-deps .

COPY --from=project . /app
WORKDIR /app
# What "dependencies" names that is no folder gets installed, as does requirements.txt. The dotenv file is emptied:
# secrets come from the container's environment and never lie in a layer.
RUN rm -rf .git .venv .graphwire .env && python -c '\
import json, pathlib; \
config = json.loads(pathlib.Path("langgraph.json").read_text("utf-8-sig")); \
isinstance(config.get("env"), str) and pathlib.Path(config["env"]).write_text(""); \
print(*(entry for entry in config.get("dependencies", []) if entry[0] not in "./"), sep="\n")' > /tmp/packages
# A package of the project that breaks one of ours fails the build here, not the server later.
RUN set -- -r /tmp/packages; \
    if [ -f requirements.txt ]; then set -- "$@" -r requirements.txt; fi; \
    pip install "$@" && pip check && python -m compileall -q .

FROM python:3.12-slim
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/graphwire /opt/graphwire
COPY --from=build /app /app
# On a read-only root /data is the one place that can be written: a volume.
ENV PATH=/opt/graphwire/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/data TMPDIR=/data \
    GRAPHWIRE_DATA_DIR=/data/graphwire
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8123
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8123/ok', timeout=2)"]
CMD ["graphwire", "serve", "--host", "0.0.0.0", "--config", "/app/langgraph.json"]
