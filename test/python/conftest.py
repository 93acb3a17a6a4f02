"""The client is tested as it stands in the tree.

The folder of the module goes first: where tests start in the top folder, Python would else take the library built there,
fa_agents.so, for a module of that name.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))
