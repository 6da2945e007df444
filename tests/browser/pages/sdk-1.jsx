import { useStream } from "@langchain/langgraph-sdk/react";
import { showWith } from "./v1.jsx";

showWith(useStream);
