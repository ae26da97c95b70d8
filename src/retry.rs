//! stub
use crate::{config::GenerationConfig, error::Error};
pub(crate) fn again(_: &Error, _: u32, _: &GenerationConfig) -> Option<std::time::Duration> {
    None
}
