import pathlib
import sys

from greet.greet import greeting

import below.module

print(greeting(), below.module.NAME, sys.argv[1:])
print((pathlib.Path(__file__).parent / "data.txt").read_text(), end="")
