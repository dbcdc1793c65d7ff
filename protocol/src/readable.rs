//! Text of a site as one harmless line for people: whatever moves a terminal,
//! turns the direction of the text or is not seen is written out, ordinary text
//! in any language stays as it is. Pure. The supervisor and the command line use
//! it for logs and the status, the module for its pages.

/// Whether a character changes how others are shown, or is not shown itself. The
/// two joiners, which several scripts need within words, are not among them.
pub const fn is_deceptive(c: char) -> bool {
    matches!(
        c,
        // Marks, embeddings, overrides and isolates of direction.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Separators that some programs take for the end of a line.
        | '\u{2028}' | '\u{2029}'
        // Without a width or a shape.
        | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Appends a character, written out if it is not for a reader's eyes.
fn push(out: &mut String, c: char) {
    match c {
        '\t' => out.push(c),
        c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if is_deceptive(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        c => out.push(c),
    }
}

/// Bytes as one harmless line: control and deceptive characters escaped, invalid
/// UTF-8 replaced.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        push(&mut out, c);
    }
    out
}

/// The same with its line breaks.
pub fn escaped_lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| escaped(line.as_bytes()));
    lines.collect::<Vec<_>>().join("\n")
}

/// JSON that means the same and can be shown: outside of strings there are no such
/// characters.
pub fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_deceptive(c) || ('\u{7f}'..='\u{9f}').contains(&c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_attacks_become_text() {
        assert_eq!(
            escaped(b"a\x1b[2Jb\nc\td\xff"),
            "a\\x1b[2Jb\\x0ac\td\u{fffd}"
        );
        assert_eq!(escaped("\u{9b}2J\u{85}".as_bytes()), "\\x9b2J\\x85");
    }

    #[test]
    fn what_turns_or_hides_text_is_written_out() {
        assert_eq!(escaped("user\u{202e}toor".as_bytes()), "user\\u{202e}toor");
        let hidden = "\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202d}\u{2066}\u{2069}\u{2060}\u{feff}\u{e0041}";
        assert!(escaped(hidden.as_bytes()).is_ascii());
        assert_eq!(
            escaped(hidden.as_bytes()).matches("\\u{").count(),
            hidden.chars().count()
        );
        assert_eq!(escaped_lines("a\u{202e}\nb\r"), "a\\u{202e}\nb\\x0d");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in [
            "Grüße, naïve",
            "שלום",
            "مرحبا",
            "می\u{200c}خواهم",
            "日本語",
            "👩\u{200d}💻",
            "e\u{301}",
        ] {
            assert_eq!(escaped(text.as_bytes()), text);
            assert_eq!(escaped_json(text), text);
        }
    }

    #[test]
    fn escaped_json_means_the_same() {
        let json = "{\"a\u{202e}\": \"\u{e0041}\u{85}\u{7f}\\n\"}";
        assert_eq!(
            escaped_json(json),
            r#"{"a\u202e": "\udb40\udc41\u0085\u007f\n"}"#
        );
    }
}
