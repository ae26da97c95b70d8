//! Replaces the TLS module in a build without TLS.

use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};

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
}

impl Connector<Box<dyn Transport>> for Tls {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<Box<dyn Transport>>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained)
    }
}
