//! The fields of a row in the table of vendors: [`Vendor`].

use super::dialect::Dialect;
use super::protocol::Protocol;
use super::record::record;
use super::web_search::SearchForms;

record! {
    /// A row of the table: everything that the crate knows about a vendor.
    Vendor;

    /// The values of the fields that a row does not set.
    COMPATIBLE {
        /// The base URL, up to and including the version. Empty if the vendor has no public one. A
        /// name in braces is replaced by the value of that environment variable: `{AWS_REGION}`, or
        /// the first that is set of `{AWS_REGION|AWS_DEFAULT_REGION}`.
        base_url: &'static str = "",
        /// The variable that may hold another base URL, and the form in which the vendor's own
        /// tools expect the URL there.
        base_url_variable: Option<(&'static str, UrlForm)> = None,
        /// The variables that may hold the API key, in the order of the vendor's own SDK.
        key_variables: &'static [&'static str] = &[],
        /// The variables of `key_variables` whose value is a token. A token is sent as
        /// `Authorization: Bearer`, even if the protocol has another header for keys.
        bearer_variables: &'static [&'static str] = &[],
        /// `true` if a request without a key always fails.
        key_required: bool = true,
        /// Pairs of a header and a variable. If the variable is set, its value is sent in the
        /// header.
        header_variables: &'static [(&'static str, &'static str)] = &[],
        /// Prefixes of the names of its models. If several rows share a prefix, none of them is
        /// chosen.
        model_prefixes: &'static [&'static str] = &[],
        /// The default protocol.
        protocol: Protocol = Protocol::ChatCompletions,
        /// The protocols of models at the vendor's own address: blank-separated prefixes of model
        /// names, and the protocol. The first entry that fits decides.
        protocols: &'static [(&'static str, Protocol)] = &[],
        /// The kinds of `tool_choice` that the server is known to ignore: the kind, blank-separated
        /// prefixes of the models that it is ignored for, and advice for the error message.
        ignored_tool_choices: &'static [(&'static str, &'static str, &'static str)] = &[],
        /// The forms of the vendor's own web search.
        web_search: SearchForms = &[],
        /// `true` if a complete response may end with `[DONE]` alone, without a finish reason and
        /// usage. At other vendors such an end means that the response was interrupted.
        ends_without_reason: bool = false,
        /// The differences of its Chat Completions from the common form.
        dialect: Dialect = Dialect::COMMON,
    }
}

/// The form of a base URL in a vendor's environment variable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UrlForm {
    /// The whole base URL.
    Whole,
    /// The base URL without this version, which the vendor's own tools add to it.
    WithoutVersion(&'static str),
    /// The address that Ollama's server listens on.
    OllamaHost,
}
