//! A point in time that survives exec: as nanoseconds of the monotonic clock,
//! which both programs read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

/// For `serde(with)`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(at: &Instant, to: S) -> Result<S::Ok, S::Error> {
    to_number(*at).serialize(to)
}

/// For `serde(with)`.
///
/// # Errors
/// If it is no number.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
    i64::deserialize(from).map(from_number)
}

/// For a point in time that the program before did not write and that has passed.
pub fn now() -> Instant {
    Instant::now()
}

/// The same for one that ends a patience: not at once, and not never.
pub fn soon() -> Instant {
    Instant::now() + SOON
}

/// The same for a point in time that may not be.
pub mod option {
    use super::{
        Deserialize, Deserializer, Instant, Serialize, Serializer, from_number, to_number,
    };

    /// See `now` above.
    pub fn now() -> Option<Instant> {
        Some(Instant::now())
    }

    /// For `serde(with)`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(at: &Option<Instant>, to: S) -> Result<S::Ok, S::Error> {
        at.map(to_number).serialize(to)
    }

    /// For `serde(with)`.
    ///
    /// # Errors
    /// If it is no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Instant>, D::Error> {
        Option::<i64>::deserialize(from).map(|number| number.map(from_number))
    }
}

/// The same for several.
pub mod list {
    use super::{
        Deserialize, Deserializer, Instant, Serialize, Serializer, VecDeque, from_number, to_number,
    };

    /// For `serde(with)`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(list: &VecDeque<Instant>, to: S) -> Result<S::Ok, S::Error> {
        list.iter()
            .copied()
            .map(to_number)
            .collect::<Vec<_>>()
            .serialize(to)
    }

    /// For `serde(with)`.
    ///
    /// # Errors
    /// If it is no list of numbers.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<VecDeque<Instant>, D::Error> {
        Ok(Vec::<i64>::deserialize(from)?
            .into_iter()
            .map(from_number)
            .collect())
    }
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
