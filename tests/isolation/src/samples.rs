//! Samples of one contender, and what they say: quantiles, and how sure the median is.

/// Measured values, in order of size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

/// Which end of the samples is the bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Times, sizes.
    Lower,
    /// Rates.
    Higher,
}

// === impl Samples ===

impl Samples {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let middle = self.len() / 2;
        let upper = *self.0.get(middle)?;
        if self.len() % 2 == 1 {
            return Some(upper);
        }
        Some(f64::midpoint(*self.0.get(middle.checked_sub(1)?)?, upper))
    }

    /// The sample that so many thousandths are no worse than: of rates, the slow ones are the
    /// tail.
    pub(crate) fn tail(&self, thousandths: usize, better: Better) -> Option<f64> {
        let rank = (self.len() * thousandths).div_ceil(1000);
        let from_best = rank.checked_sub(1)?;
        let index = match better {
            Better::Lower => from_best,
            Better::Higher => (self.len() - 1).checked_sub(from_best)?,
        };
        self.0.get(index).copied()
    }

    /// The interval that holds the true median with 95 % confidence, whatever the distribution:
    /// the samples at ranks n/2 ± 0.98 √n (binomial order statistics). Fewer than six have none.
    pub(crate) fn median_interval(&self) -> Option<(f64, f64)> {
        let half = (self.len() * 9604 / 10_000).isqrt();
        let low = (self.len() / 2).checked_sub(half + 1)?;
        let high = self.len().checked_sub(low + 1)?;
        Some((*self.0.get(low)?, *self.0.get(high)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(n: u32) -> Samples {
        Samples::new((1..=n).rev().map(f64::from).collect())
    }

    #[test]
    fn median_and_tail() {
        let cases = [
            (0, None, None, None),
            (1, Some(1.0), Some(1.0), Some(1.0)),
            (4, Some(2.5), Some(4.0), Some(1.0)),
            (1000, Some(500.5), Some(990.0), Some(11.0)),
        ];
        for (n, median, worst_times, worst_rates) in cases {
            let samples = counting(n);
            assert_eq!(samples.median(), median, "median of {n}");
            assert_eq!(samples.tail(990, Better::Lower), worst_times, "times, {n}");
            assert_eq!(samples.tail(990, Better::Higher), worst_rates, "rates, {n}");
        }
    }

    /// Ranks from published tables of the distribution-free interval.
    #[test]
    fn interval_of_the_median() {
        let cases = [
            (5, None),
            (6, Some((1.0, 6.0))),
            (11, Some((2.0, 10.0))),
            (30, Some((10.0, 21.0))),
            (1000, Some((470.0, 531.0))),
        ];
        for (n, wanted) in cases {
            assert_eq!(counting(n).median_interval(), wanted, "{n} samples");
        }
    }
}
