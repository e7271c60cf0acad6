#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Configures a meson build folder, or configures it anew if it was made with other options.
# usage: setup.sh FOLDER [meson's options]
set -eu
folder=$1
shift
if [ ! -f "$folder/build.ninja" ]; then
	meson setup "$folder" "$@"
elif [ "$(cat "$folder/options")" != "$*" ]; then
	meson setup --reconfigure "$folder" "$@"
fi
printf '%s\n' "$*" >"$folder/options"
