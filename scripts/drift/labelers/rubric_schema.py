"""What a rubric labeler's model may answer. Rules read it as well, so it imports nothing."""

CATEGORIES = {
    "rephrase": "DSAT",
    "correction": "DSAT",
    "complaint": "DSAT",
    "clarification": "DSAT",
    "praise": "SAT",
    "none": "NEUTRAL",
}
RUBRIC_SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"enum": list(CATEGORIES)},
        "quote": {"type": "string"},
        "rightly_declined": {"type": "boolean"},
    },
    "required": ["category", "quote", "rightly_declined"],
    "additionalProperties": False,
}

KIND = "label"  # of the requests
