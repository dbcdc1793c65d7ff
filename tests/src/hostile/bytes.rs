//! Frames as bytes, right or wrong ones.

use wsgid_protocol::FrameHead;
use wsgid_protocol::payload::encode;

pub(super) fn whole(head: FrameHead, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut out = FrameHead { len, ..head }.encode().to_vec();
    out.extend_from_slice(payload);
    out
}

pub(super) fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    encode(value).unwrap_or_default()
}
