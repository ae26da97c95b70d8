//! Bytes → events, by the [WHATWG algorithm](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
//! Knows no HTTP and no JSON.

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// The value of its `event` field; empty where it has none.
    pub(crate) name: &'a str,
    /// The values of its `data` fields, one a line.
    pub(crate) data: &'a str,
}
