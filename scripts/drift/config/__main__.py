"""Print the JSON schema of the configuration (for editors), or with --markdown its reference page.

`make schema` writes config.schema.json, `make docs` writes docs/configuration.md.
"""

import json
import sys

from drift.config import Config
from drift.config.reference import page

schema = Config.model_json_schema()
if sys.argv[1:] == ["--markdown"]:
    sys.stdout.write(page(schema))
else:
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")
