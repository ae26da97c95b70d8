//! The kinds of errors: [`ErrorKind`].

use crate::names::names;

names! {
    /// The kind of an [`Error`](crate::Error). Errors are grouped by what a caller can do about them.
    #[non_exhaustive]
    pub enum ErrorKind {
        /// The API key is missing, invalid, or not allowed to do this.
        Auth = "auth",
        /// The caller's [`CancelHandle`](crate::CancelHandle) ended the stream.
        Cancelled = "cancelled",
        /// The request cannot be sent: an option, the model or a URL is missing or invalid.
        Config = "config",
        /// The prompt does not fit into the model's context.
        ContextLength = "context_length",
        /// The response does not follow the protocol, or the JSON that the model wrote does not fit the
        /// caller's type.
        Decode = "decode",
        /// The response was truncated: the stream ended before the model finished.
        Incomplete = "incomplete",
        /// The provider rejected the request as invalid.
        InvalidRequest = "invalid_request",
        /// A limit was exceeded: the size of a response or of the results of tools, or the number of
        /// responses. The message names the option that raises it.
        Limit = "limit",
        /// No response came: the DNS lookup, the connection, TLS or the proxy failed.
        Network = "network",
        /// The model or the URL does not exist, or the model cannot do what was requested.
        NotFound = "not_found",
        /// The provider is overloaded. The same request may succeed later.
        Overloaded = "overloaded",
        /// The account's credit or quota is used up. Waiting does not help, or takes hours.
        Quota = "quota",
        /// Too many requests were sent. Wait before the next one.
        RateLimited = "rate_limited",
        /// The model refused to answer, or a content filter stopped it. Only
        /// [`GenerationResponse::parse`](crate::GenerationResponse::parse) and
        /// [`GenerationStream::elements`](crate::GenerationStream::elements) return it: a refusal is
        /// an answer, too.
        Refusal = "refusal",
        /// The provider had an internal error.
        Server = "server",
        /// A time limit passed. The message names the option that sets it, unless the caller's own
        /// reader timed out.
        Timeout = "timeout",
    }

    /// Returns the kind's name in snake case, such as `"rate_limited"`. It is serialised by the
    /// same name.
    pub fn as_str;
}
