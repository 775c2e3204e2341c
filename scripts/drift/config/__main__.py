"""Print the JSON schema of the configuration, for editors: `make schema` writes it to config.schema.json."""

import json
import sys

from drift.config import Config

json.dump(Config.model_json_schema(), sys.stdout, indent=2)
sys.stdout.write("\n")
