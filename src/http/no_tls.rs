//! Replaces the TLS module in a build without TLS.

use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Transport};

use crate::config::GenerationConfig;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tls;

pub(super) fn load(_: &GenerationConfig, _: bool) -> Result<Tls, String> {
    Ok(Tls)
}

impl Tls {
    pub(super) fn ca_option(&self) -> Option<&'static str> {
        None
    }

    pub(super) fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        socket: Box<dyn Transport>,
    ) -> Result<Box<dyn Transport>, Error> {
        Ok(socket)
    }
}
