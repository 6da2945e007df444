import { useStream } from "langgraph-sdk-1/react";
import { showWith } from "./v1.jsx";

showWith(useStream);
