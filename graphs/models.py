"""The model behind every sample: named by the environment variable MODEL, offline when it names none."""

import os

from langchain_core.language_models import BaseChatModel

from graphs.offline import OfflineChat


def chat_model() -> BaseChatModel:
    """The offline model, or the real one that MODEL names, such as "openai:gpt-4o-mini"."""
    name = os.environ.get("MODEL", "").strip()
    if name in ("", "offline"):
        return OfflineChat()
    try:
        # Here and not above: langchain takes a second to import, and the offline model does without it.
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        message = (
            f'MODEL="{name}" needs packages that are missing: pip install langchain and its provider package'
        )
        raise RuntimeError(message) from error
    model: BaseChatModel = init_chat_model(name)
    return model
