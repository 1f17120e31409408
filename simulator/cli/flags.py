"""Flags that several commands have."""

from functools import partial
from typing import Annotated

from cyclopts import Parameter

switch = partial(Parameter, negative=(), show_default=False)
"""A switch or a list: no `--no-...` form, and no default worth showing."""

Json = Annotated[bool, switch(name="--json", help="Write JSON for machines on stdout.")]
Verbose = Annotated[bool, switch(name=["--verbose", "-v"], help="Show what the parts log.")]
ApiUrl = Annotated[str, Parameter(env_var="UNITSIM_API_URL", help="The platform to call.")]
API_URL = "http://127.0.0.1:8080"
