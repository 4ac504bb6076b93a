//! What the fleet costs, in whole millionths of a dollar: sums of money are not rounded on the way.

use serde::Serialize;

/// Hours of a month, as AWS's own price lists count them.
pub const HOURS: u32 = 730;

/// Prices in millionths of a US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// One instance for one hour.
    pub instance_hour: u32,
    /// One instance's volume for one month.
    pub volume_month: u32,
    /// What a month costs with no instance at all, such as the image's snapshot.
    pub fixed_month: u32,
}

impl Default for Prices {
    /// A t3.large in us-east-1 with 40 GB of gp3, and one snapshot.
    fn default() -> Self {
        Prices { instance_hour: 83_200, volume_month: 3_200_000, fixed_month: 3_200_000 }
    }
}

/// What the instances that exist cost, and what the bounds would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    pub currency: &'static str,
    /// Instances that are paid for: all that exist, in service or not.
    pub instances: u32,
    pub hour_micros: u64,
    /// A month at this rate.
    pub month_micros: u64,
    /// A month at the least and at the most capacity.
    pub month_at_min_micros: u64,
    pub month_at_max_micros: u64,
}

impl Cost {
    pub(super) fn of(prices: &Prices, instances: u32, min: u32, max: u32) -> Cost {
        Cost {
            currency: "USD",
            instances,
            hour_micros: prices.month(instances) / u64::from(HOURS),
            month_micros: prices.month(instances),
            month_at_min_micros: prices.month(min),
            month_at_max_micros: prices.month(max),
        }
    }
}

impl Prices {
    /// A month of so many instances, without their volumes.
    #[must_use]
    pub fn compute(&self, instances: u32) -> u64 {
        let each = u64::from(self.instance_hour) * u64::from(HOURS);
        u64::from(instances).saturating_mul(each)
    }

    /// A month of their volumes.
    #[must_use]
    pub fn volumes(&self, instances: u32) -> u64 {
        u64::from(instances) * u64::from(self.volume_month)
    }

    /// A month of all of it.
    #[must_use]
    pub fn month(&self, instances: u32) -> u64 {
        let machines = self.compute(instances).saturating_add(self.volumes(instances));
        machines.saturating_add(u64::from(self.fixed_month))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_table_comes_out() {
        let cost = |instances| Cost::of(&Prices::default(), instances, 1, 10);
        // "Idle (min=1) ~$67", "Average (2-3) ~$130-190", "Peak (10) ~$640"
        assert_eq!(cost(1).month_micros, 67_136_000);
        assert_eq!(cost(2).month_micros, 131_072_000);
        assert_eq!(cost(3).month_micros, 195_008_000);
        assert_eq!(cost(10).month_micros, 642_560_000);
        assert_eq!(cost(0).month_micros, 3_200_000);
        assert_eq!(cost(1).hour_micros, 91_967);
        assert_eq!(cost(4).month_at_min_micros, cost(1).month_micros);
        assert_eq!(cost(4).month_at_max_micros, cost(10).month_micros);
    }

    #[test]
    fn the_largest_fleet_at_the_highest_price_is_a_number() {
        let prices =
            Prices { instance_hour: u32::MAX, volume_month: u32::MAX, fixed_month: u32::MAX };
        assert!(Cost::of(&prices, u32::MAX, 0, u32::MAX).month_micros > 0);
    }
}
