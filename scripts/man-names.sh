#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The names that a manual page has, one in a line: each gets a link to the page.
# usage: man-names.sh PAGE
set -eu
awk '/^\.Sh NAME/ { on = 1 } /^\.Nd/ { exit } on && /^\.Nm/ { print $2 }' "$1"
