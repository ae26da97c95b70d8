//! Ending a stream from outside: [`CancelHandle`].
use std::time::Duration;
/// stub
#[derive(Clone, Debug)]
pub struct CancelHandle {}
impl CancelHandle {
    /// stub
    pub fn cancel(&self) {}
    /// stub
    pub fn is_cancelled(&self) -> bool {
        false
    }
    pub(crate) fn new() -> Self {
        Self {}
    }
    pub(crate) fn wait(&self, _time: Duration) -> bool {
        false
    }
}
