//! Addresses and networks, as WSGITrustedProxies lists them. Pure.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrustedNetwork {
    address: IpAddr,
    bits: u8,
}

impl TrustedNetwork {
    /// Reads `10.0.0.1`, `10.0.0.0/8`, `::1`, `fd00::/8`.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let mut parts = word.splitn(2, '/');
        let address: IpAddr = parts.next()?.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match parts.next() {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
        };
        Some(Self { address, bits })
    }

    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                u128::from(own.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        self.bits == 0 || differ >> (128 - u32::from(self.bits)) == 0
    }
}
