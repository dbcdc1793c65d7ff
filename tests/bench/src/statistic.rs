//! Medians and spreads: short rounds on a shared machine have outliers, so no means.

/// A median and the quarter and three-quarter values around it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        Self {
            low: quantile(&values, 0.25),
            median: quantile(&values, 0.5),
            high: quantile(&values, 0.75),
        }
    }

    /// Half the distance between the quarters, in per cent of the median.
    pub(crate) fn percent(&self) -> f64 {
        if self.median == 0.0 {
            0.0
        } else {
            (self.high - self.low) / 2.0 / self.median * 100.0
        }
    }
}

/// Between sorted values, linear.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = share * last as f64;
    let value = |index: usize| sorted.get(index.min(last)).copied().unwrap_or_default();
    let below = value(at.floor() as usize);
    below + (value(at.ceil() as usize) - below) * at.fract()
}

/// The smallest value that is not exceeded by `share` of all (nearest rank), from ns to ms.
pub(crate) fn percentile(sorted_ns: &[u64], share: f64) -> f64 {
    let rank = (share * sorted_ns.len() as f64).ceil() as usize;
    sorted_ns
        .get(rank.saturating_sub(1))
        .map_or(0.0, |ns| *ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::{Spread, percentile};

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Spread {
                low: 1.5,
                median: 2.0,
                high: 2.5
            }
        );
        assert_eq!(Spread::of([]), Spread::default());
        let values: Vec<u64> = (1..=1000).map(|number| number * 1_000_000).collect();
        assert_eq!(percentile(&values, 0.99), 990.0);
        assert_eq!(percentile(&values, 0.999), 999.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
