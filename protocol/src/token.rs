//! What a name of a header field may hold. Asked by the worker, which tells the
//! application, and by the module, which believes no worker.

/// RFC 9110 §5.6.2, `tchar`.
#[inline]
pub const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// For each byte, whether a token may hold it.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::is_token;

    #[test]
    fn separators_controls_and_what_is_not_ascii_are_no_token() {
        let held: Vec<u8> = (0..=255).filter(|byte| is_token(*byte)).collect();
        let mut expected =
            b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                .to_vec();
        expected.sort_unstable();
        assert_eq!(held, expected);
    }
}
