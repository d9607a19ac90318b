//! How many requests one address may make.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::Stopwatch;
use http_serve::Peer;

use crate::App;
use crate::problem::Problem;

/// Addresses that are remembered at most.
const MAX_ADDRESSES: usize = 65_536;

/// What may be asked at once after a pause is what may be asked in so long.
const BURST: Duration = Duration::from_secs(4);

/// Counts requests by address. An address that has paused for [`BURST`] is as one that never came.
pub(crate) struct Rate {
    running: Stopwatch,
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    /// Until when each has used up what it may ask, on that watch.
    used_until: HashMap<IpAddr, Duration>,
    /// When those were forgotten last that have paused.
    forgotten_at: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Rate { running: Stopwatch::start(), addresses: Mutex::default() }
    }
}

impl Rate {
    /// Whether `address` may ask once more at so many requests a second.
    fn allows(&self, address: IpAddr, per_second: u32) -> bool {
        self.allows_at(self.running.elapsed(), whole_network(address), per_second)
    }

    fn allows_at(&self, now: Duration, address: IpAddr, per_second: u32) -> bool {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if !addresses.have_room_for(address, now) {
            return false;
        }
        let until = addresses.used_until.entry(address).or_insert(now);
        let next = (*until).max(now) + Duration::from_secs(1) / per_second;
        let is_allowed = next <= now + BURST;
        if is_allowed {
            *until = next;
        }
        is_allowed
    }
}

impl Addresses {
    /// Forgets those that have paused when there is no more room: seldom, since that goes through all of them.
    fn have_room_for(&mut self, address: IpAddr, now: Duration) -> bool {
        let is_full = |addresses: &Self| addresses.used_until.len() >= MAX_ADDRESSES;
        if self.used_until.contains_key(&address) || !is_full(self) {
            return true;
        }
        if now >= self.forgotten_at + BURST {
            self.forgotten_at = now;
            self.used_until.retain(|_, until| *until > now);
        }
        !is_full(self)
    }
}

/// One customer has as many IPv6 addresses as it likes, all in one /64.
fn whole_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Refuses requests beyond the limit. Who is on this machine has none: a proxy that runs here speaks for many, and counts
/// itself.
pub(crate) async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_canonical());
    let per_second = app.settings().0.requests_per_second;
    match (peer, per_second) {
        (Some(peer), Some(per_second)) if !peer.is_loopback() && !app.rate.allows(peer, per_second.get()) => {
            app.metrics.refused_by_rate.inc();
            let detail = format!(
                "More than {per_second} requests a second came from your address. Ask again in a few seconds, less often; \
                 /api/v1/events says when there is something new."
            );
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_ask_so_often_after_a_burst_and_others_are_not_held_up() {
        let (rate, address) = (Rate::default(), "10.0.0.1".parse().unwrap());
        let second = Duration::from_secs(1);
        let allowed = |now, count| (0..count).filter(|_| rate.allows_at(now, address, 10)).count();
        assert_eq!(allowed(second, 1000), 40);
        assert_eq!(allowed(2 * second, 1000), 10);
        assert_eq!(allowed(60 * second, 1000), 40);
        assert!(rate.allows_at(60 * second, "10.0.0.2".parse().unwrap(), 10));
    }

    #[test]
    fn addresses_of_one_network_count_together_and_memory_is_bounded() {
        assert_eq!(
            whole_network("2001:db8::1".parse().unwrap()),
            whole_network("2001:db8::ffff".parse().unwrap())
        );
        let rate = Rate::default();
        for number in 0..2 * MAX_ADDRESSES as u32 {
            rate.allows_at(BURST, std::net::Ipv4Addr::from_bits(number).into(), 10);
        }
        assert_eq!(rate.addresses.lock().unwrap().used_until.len(), MAX_ADDRESSES);
        assert!(rate.allows_at(2 * BURST, "10.1.2.3".parse().unwrap(), 10));
    }
}
