//! Looks up host names within a time limit.

use std::net::IpAddr;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration as Span;

use super::fault::{Fault, named};
use crate::endpoint::bare_host;

/// A resolver that looks up nothing. ureq calls its resolver before it knows whether it needs a new
/// connection. `ControlledConnector` calls [`TimedResolver`] if it does.
#[derive(Debug)]
pub(super) struct NoopResolver;

impl Resolver for NoopResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// A resolver with a time limit. The limit costs a thread, so it is not set for IP addresses and
/// `localhost`, which need no DNS lookup.
#[derive(Debug)]
pub(super) struct TimedResolver {
    /// `true` if the names are those of proxies.
    pub(super) of_proxy: bool,
}

impl Resolver for TimedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        mut timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let bare = bare_host(uri.host().unwrap_or_default());
        if bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost") {
            timeout.after = Span::NotHappening;
        }
        let found = DefaultResolver::default().resolve(uri, config, timeout);
        let of_proxy = self.of_proxy;
        found.map_err(|error| named(error, |source| Fault::Name { of_proxy, source }))
    }
}
