#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# `make html`: the manual pages as HTML in build/html, with an index. Each name that a page has is a file.
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/html
rm -rf "$out"
mkdir -p "$out"
pages=(man/*.7 man/*.3 man/*.1)
mandoc -T lint -W warning "${pages[@]}"

# mandoc leads every reference to a page of the system; a name of this library has its page here.
system=https://man7.org/linux/man-pages
for page in "${pages[@]}"; do
	section=${page##*.} file=${page##*/}.html
	mandoc -T html -O "style=mandoc.css,man=$system/man%S/%N.%S.html" "$page" |
		sed -E "s,$system/man[0-9]/((lib)?rfs),\\1,g" >"$out/$file"
	for name in $(scripts/man-names.sh "$page"); do
		[ "$name.$section.html" = "$file" ] || ln -s "$file" "$out/$name.$section.html"
	done
done
cat >"$out/mandoc.css" <<-'END'
	body { max-width: 50em; margin: 2em auto; padding: 0 1em; font-family: sans-serif; line-height: 1.5; }
	table.head, table.foot { width: 100%; }
	td.head-vol { text-align: center; }
	td.head-rtitle, td.foot-os { text-align: right; }
	pre, code { font-family: monospace; background: #f4f4f4; }
	dd { margin-bottom: 0.5em; }
END

{
	echo '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>librfs</title>'
	echo '<link rel="stylesheet" href="mandoc.css"></head><body><h1>librfs</h1>'
	for page in "${pages[@]}"; do
		section=${page##*.} file=${page##*/}
		echo "<h2><a href=\"$file.html\">${file%.*}($section)</a>: $(sed -n 's/^\.Nd //p' "$page")</h2><ul>"
		for name in $(scripts/man-names.sh "$page" | sort); do
			echo "<li><a href=\"$name.$section.html\">$name</a></li>"
		done
		echo '</ul>'
	done
	echo '</body></html>'
} >"$out/index.html"

echo "html: $(find "$out" -name '*.html' | wc -l) pages in $out"
