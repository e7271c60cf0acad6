// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text in messages, log lines and descriptions. It never allocates. Text from an image or a configuration is
//! escaped, so that it can't move a terminal's cursor, begin a line of its own or change the direction of writing.

use core::fmt::{self, Display, Write};

/// Bytes as they are shown to people. Bytes that are not UTF-8, and characters that a terminal obeys or doesn't show,
/// are written as `\xNN`, byte by byte. A backslash stays as it is, so that text may be escaped twice without harm.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pieces(self.0).try_for_each(|piece| match piece {
            Piece::Plain(text) => f.write_str(text),
            Piece::Unsafe(bytes) => bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}")),
        })
    }
}

/// A value in quotes. A long one is cut.
#[derive(Clone, Copy)]
pub struct Quoted<'a>(pub &'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX: usize = 256;
        if self.0.len() <= MAX {
            return write!(f, "\"{}\"", Escaped(self.0));
        }
        // A character has at most four bytes, and all but its first are 0b10xx_xxxx.
        let is_boundary = |&end: &usize| self.0[end] & 0xc0 != 0x80;
        let end = (MAX - 3..=MAX).rev().find(is_boundary).unwrap_or(MAX);
        write!(f, "\"{}\"...", Escaped(&self.0[..end]))
    }
}

/// One character, or a run of bytes that are not UTF-8.
enum Piece<'a> {
    Plain(&'a str),
    Unsafe(&'a [u8]),
}

impl Piece<'_> {
    fn width(&self) -> usize {
        match self {
            Piece::Plain(text) => text.len(),
            Piece::Unsafe(bytes) => 4 * bytes.len(),
        }
    }
}

fn pieces(text: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    text.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid();
        let characters = valid.char_indices().map(move |(at, c)| {
            let text = &valid[at..at + c.len_utf8()];
            if is_plain(c) {
                Piece::Plain(text)
            } else {
                Piece::Unsafe(text.as_bytes())
            }
        });
        let invalid = (!chunk.invalid().is_empty()).then_some(Piece::Unsafe(chunk.invalid()));
        characters.chain(invalid)
    })
}

/// Whether a character is shown and changes only its own place. Unicode's control characters and line separators are
/// not like that. Nor are the format characters (category Cf) that have no width or change the direction.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Escaped text of at most `N` bytes. A longer text is cut between characters.
#[derive(Clone)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub const fn new() -> Self {
        Text {
            bytes: [0; N],
            len: 0,
        }
    }

    #[inline(never)]
    pub fn format(text: impl Display) -> Self {
        let mut made = Self::new();
        // An error here only means that the end was cut.
        let _ = write!(made, "{text}");
        made
    }

    /// A path. A long one keeps its end, which tells more than its beginning.
    #[inline(never)]
    pub fn path(path: &[u8]) -> Self {
        const DOTS: &str = "...";
        let mut made = Self::new();
        let mut width: usize = pieces(path).map(|piece| piece.width()).sum();
        let cut = width > N;
        if cut {
            made.append(DOTS.as_bytes());
        }
        for piece in pieces(path) {
            if cut && width > N - DOTS.len() {
                width -= piece.width();
            } else {
                let _ = made.push(&piece);
            }
        }
        made
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn as_str(&self) -> &str {
        // Only whole characters are ever written.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, piece: &Piece<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        if self.len + piece.width() > N {
            return Err(fmt::Error);
        }
        match piece {
            Piece::Plain(text) => self.append(text.as_bytes()),
            Piece::Unsafe(bytes) => {
                for &byte in *bytes {
                    let digit = |half: u8| HEX[usize::from(half)];
                    self.append(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
                }
            }
        }
        Ok(())
    }

    /// For a text that surely fits.
    fn append(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        pieces(text.as_bytes()).try_for_each(|piece| self.push(&piece))
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_paths_keep_their_end() {
        assert_eq!(Text::<4>::format("aaaé").as_str(), "aaa");
        assert_eq!(Text::<4>::format("aaaéb").as_str(), "aaa");
        assert_eq!(Text::<8>::path(b"/very/long/path").as_str(), ".../path");
        assert_eq!(Text::<8>::path("/longéa".as_bytes()).as_str(), "/longéa");
        assert_eq!(
            Text::<8>::path("/longerxé\n".as_bytes()).as_str(),
            "...\\x0a"
        );
        assert_eq!(
            Text::<9>::path("/longerxé\n".as_bytes()).as_str(),
            "...é\\x0a"
        );
        assert_eq!(Text::<3>::path(b"/a/b").as_str(), "...");
    }

    #[test]
    fn control_characters_and_bytes_that_are_no_text_are_escaped() {
        for (bytes, shown) in [
            (b"plain /path 'x' \\x" as &[u8], "plain /path 'x' \\x"),
            (
                "gr\u{fc}\u{df} \u{4f60}\u{597d}".as_bytes(),
                "gr\u{fc}\u{df} \u{4f60}\u{597d}",
            ),
            (
                b"a\nb\x1b[31m\t\r\0\x7f",
                "a\\x0ab\\x1b[31m\\x09\\x0d\\x00\\x7f",
            ),
            (b"/proc/\xff\xfe", "/proc/\\xff\\xfe"),
            (b"cut \xe2\x80", "cut \\xe2\\x80"),
            // NEL, a C1 control; right-to-left override; zero-width space; line separator; a tag.
            ("\u{85}".as_bytes(), "\\xc2\\x85"),
            ("a\u{202e}b".as_bytes(), "a\\xe2\\x80\\xaeb"),
            (
                "\u{200b}\u{2028}".as_bytes(),
                "\\xe2\\x80\\x8b\\xe2\\x80\\xa8",
            ),
            (
                "\u{2066}\u{feff}\u{ad}".as_bytes(),
                "\\xe2\\x81\\xa6\\xef\\xbb\\xbf\\xc2\\xad",
            ),
            ("\u{e0041}".as_bytes(), "\\xf3\\xa0\\x81\\x81"),
        ] {
            assert_eq!(Escaped(bytes).to_string(), shown);
            assert_eq!(Text::<64>::path(bytes).as_str(), shown);
            assert_eq!(Text::<64>::format(Escaped(bytes)).as_str(), shown);
        }
        // The text is escaped again, because its writer may not have done so.
        assert_eq!(Text::<16>::format("a\x1b[1m").as_str(), "a\\x1b[1m");
        // An escape is whole or missing.
        assert_eq!(Text::<6>::format("abc\n").as_str(), "abc");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(Quoted(b"a\nb").to_string(), "\"a\\x0ab\"");
        let shown = |text: &str| Quoted(text.as_bytes()).to_string();
        let (whole, wide) = ("x".repeat(256), "\u{fc}".repeat(128));
        assert_eq!(shown(&whole), format!("\"{whole}\""));
        assert_eq!(shown(&(whole.clone() + "x")), format!("\"{whole}\"..."));
        assert_eq!(shown(&(wide.clone() + "x")), format!("\"{wide}\"..."));
        assert_eq!(
            shown(&("x".to_string() + &wide)),
            format!("\"x{}\"...", "\u{fc}".repeat(127))
        );
    }
}
