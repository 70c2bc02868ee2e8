//! The connection limits of main.cf, divided among workers.

use crate::screen::policy::Limits;

/// The share of worker number `worker` (from 0) of `workers`. The shares of all workers
/// add up to the limits of main.cf, except that each is at least 1.
pub fn share(limits: Limits, worker: usize, workers: usize) -> Limits {
    let part = |total: usize| {
        let rest = total.checked_rem(workers).unwrap_or(0);
        let even = total.checked_div(workers).unwrap_or(total);
        (even + usize::from(worker < rest)).max(1)
    };
    Limits {
        per_client: limits.per_client.map(part),
        prefix_ipv6: limits.prefix_ipv6,
        post_queue: part(limits.post_queue),
        pre_queue: part(limits.pre_queue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { per_client: Some(50), prefix_ipv6: 64, post_queue: 100, pre_queue: 101 };

    #[test]
    fn shares_add_up() {
        for workers in 1..=50 {
            let shares: Vec<Limits> =
                (0..workers).map(|worker| share(LIMITS, worker, workers)).collect();
            assert_eq!(shares.iter().map(|share| share.pre_queue).sum::<usize>(), 101);
            assert_eq!(shares.iter().map(|share| share.post_queue).sum::<usize>(), 100);
            assert_eq!(shares.iter().filter_map(|share| share.per_client).sum::<usize>(), 50);
        }
        assert_eq!(share(LIMITS, 0, 1), LIMITS);
    }

    #[test]
    fn at_least_one_each() {
        let few = Limits { per_client: Some(2), post_queue: 5, pre_queue: 10, ..LIMITS };
        let one = Limits { per_client: Some(1), post_queue: 1, pre_queue: 1, ..LIMITS };
        assert_eq!(share(few, 63, 64), one);
        assert_eq!(share(Limits { per_client: None, ..few }, 0, 2).per_client, None);
    }
}
