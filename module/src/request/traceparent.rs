//! `traceparent` as W3C Trace Context (Level 1) has it: read, written, and whether a trace that
//! begins here is sampled. Pure; used by `trace.rs`.

/// Of `00-<32 digits>-<16 digits>-<2 digits>`.
const LEN: usize = 55;
/// The one flag that has a meaning.
const SAMPLED: u8 = 1;
const MILLION: u64 = 1_000_000;

/// What a request says of the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace_id: [u8; 16],
    /// The span of whoever sends it.
    pub(super) span_id: [u8; 8],
    pub(super) sampled: bool,
}

impl TraceParent {
    /// `None`: it is invalid, and counts as if it were not there.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LEN)?;
        let [version] = digits::<1>(known.get(..2)?)?;
        // A later version may say more behind this.
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => matches!(more, [] | [b'-', ..]),
        };
        let dashes = [2, 35, 52].map(|at| known.get(at) == Some(&b'-'));
        if !is_whole || dashes.contains(&false) {
            return None;
        }
        let [flags] = digits::<1>(known.get(53..)?)?;
        let found = Self {
            trace_id: digits(known.get(3..35)?)?,
            span_id: digits(known.get(36..52)?)?,
            sampled: flags & SAMPLED != 0,
        };
        (found.trace_id != [0; 16] && found.span_id != [0; 8]).then_some(found)
    }

    pub(super) fn text(&self) -> String {
        let flags = if self.sampled { "01" } else { "00" };
        format!("00-{}-{}-{flags}", hex(&self.trace_id), hex(&self.span_id))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower case alone is valid.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

/// Whether a trace that begins here is sampled, `parts` of a million are. By its number, so that
/// whoever else decides by it decides the same.
pub(super) fn is_sampled(trace_id: &[u8; 16], parts: u32) -> bool {
    let [.., a, b, c, d, e, f, g] = *trace_id;
    // The part that is random in any trace.
    let random = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
    let bound = u128::from(parts) * (1 << 56) / u128::from(MILLION);
    u128::from(random) < bound
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_valid_comes_back() {
        let parsed = TraceParent::parse(VALID.as_bytes()).unwrap();
        assert_eq!((parsed.text().as_str(), parsed.sampled), (VALID, true));
        for (flags, sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let text = format!("{}{flags}", &VALID[..53]);
            assert_eq!(
                TraceParent::parse(text.as_bytes()).unwrap().sampled,
                sampled
            );
        }
        for later in ["01", "fe"] {
            for more in ["", "-what-comes"] {
                let text = format!("{later}{}{more}", &VALID[2..]);
                assert_eq!(TraceParent::parse(text.as_bytes()), Some(parsed), "{text}");
            }
        }
    }

    #[test]
    fn whatever_else_is_as_if_it_were_not_there() {
        let mut wrong = vec![
            String::new(),
            format!("{VALID}-"),
            format!("{VALID}, {VALID}"),
            format!("ff{}", &VALID[2..]),
            format!("01{}x", &VALID[2..]),
            VALID.to_uppercase(),
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
        ];
        wrong.extend((0..LEN).map(|at| VALID[..at].to_owned()));
        wrong.extend((0..LEN).map(|at| {
            let mut text = VALID.to_owned();
            text.replace_range(at..=at, "g");
            text
        }));
        for text in wrong {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(TraceParent::parse(&[0xff; LEN]), None);
    }

    #[test]
    fn a_part_of_all_traces_is_sampled() {
        let of = |byte: u8| {
            let mut id = [0x11; 16];
            id[9] = byte;
            id
        };
        for (parts, sampled) in [(0, 0), (500_000, 128), (250_000, 64), (1_000_000, 256)] {
            let count = (0..=255)
                .filter(|byte| is_sampled(&of(*byte), parts))
                .count();
            assert_eq!(count, sampled, "{parts}");
        }
        assert!(is_sampled(&[0xff; 16], 1_000_000) && !is_sampled(&[0; 16], 0));
    }
}
