//! A point in time that survives exec: as nanoseconds of the monotonic clock,
//! which both programs read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wsgid_protocol::clock::monotonic;

/// As long as a worker usually has to finish its requests.
const SOON: Duration = Duration::from_secs(15);

fn both_clocks() -> (Instant, i64) {
    let clock = monotonic();
    (
        Instant::now(),
        i64::try_from(clock.as_nanos()).unwrap_or_default(),
    )
}

fn to_number(at: Instant) -> i64 {
    let (now, clock) = both_clocks();
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or_default();
    clock
        .saturating_add(nanos(at.saturating_duration_since(now)))
        .saturating_sub(nanos(now.saturating_duration_since(at)))
}

fn from_number(number: i64) -> Instant {
    let (now, clock) = both_clocks();
    let distance = Duration::from_nanos(number.abs_diff(clock));
    if number >= clock {
        now + distance
    } else {
        now.checked_sub(distance).unwrap_or(now)
    }
}

/// An instant, one that may not be, or several; written as numbers in the same order.
pub trait Instants {
    /// The numbers.
    type Numbers: Serialize + DeserializeOwned;
    /// As they are written.
    fn to_numbers(&self) -> Self::Numbers;
    /// As they are read.
    fn from_numbers(numbers: Self::Numbers) -> Self;
}

impl Instants for Instant {
    type Numbers = i64;
    fn to_numbers(&self) -> i64 {
        to_number(*self)
    }
    fn from_numbers(number: i64) -> Self {
        from_number(number)
    }
}

impl Instants for Option<Instant> {
    type Numbers = Option<i64>;
    fn to_numbers(&self) -> Option<i64> {
        self.map(to_number)
    }
    fn from_numbers(number: Option<i64>) -> Self {
        number.map(from_number)
    }
}

impl Instants for VecDeque<Instant> {
    type Numbers = Vec<i64>;
    fn to_numbers(&self) -> Vec<i64> {
        self.iter().copied().map(to_number).collect()
    }
    fn from_numbers(numbers: Vec<i64>) -> Self {
        numbers.into_iter().map(from_number).collect()
    }
}

/// For `serde(with)`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Instants, S: Serializer>(at: &T, to: S) -> Result<S::Ok, S::Error> {
    at.to_numbers().serialize(to)
}

/// For `serde(with)`.
///
/// # Errors
/// If they are no numbers.
pub fn deserialize<'de, T: Instants, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::Numbers::deserialize(from).map(T::from_numbers)
}

/// Stands for an instant that the program before did not write and that has passed.
pub fn now<T: From<Instant>>() -> T {
    Instant::now().into()
}

/// Stands for the end of a time limit: not at once, and not never.
pub fn soon() -> Instant {
    Instant::now() + SOON
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_comes_back() {
        for at in [Instant::now() + Duration::from_secs(3), Instant::now()] {
            let back = from_number(to_number(at));
            let away = back
                .saturating_duration_since(at)
                .max(at.saturating_duration_since(back));
            assert!(away < Duration::from_millis(5), "{away:?}");
        }
    }
}
