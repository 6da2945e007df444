import { useStream } from "langgraph-sdk-2/react";
import { showWith } from "./v1.jsx";

showWith(useStream);
