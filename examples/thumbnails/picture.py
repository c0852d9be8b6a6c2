"""Writes a grey picture to standard output, for trying the example without a camera."""

import math
import sys

from png import write_png

ROWS = [bytes(int(127 + 127 * math.sin(x / 17) * math.cos(y / 11)) for x in range(256)) for y in range(128)]

if __name__ == "__main__":
    sys.stdout.buffer.write(write_png(ROWS))
