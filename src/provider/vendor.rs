//! What a row of the table says of a vendor: [`Vendor`].

use super::dialect::Dialect;
use super::protocol::Protocol;

/// A row of the table: all there is to know of a vendor that speaks one of the protocols.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// Up to and including the version; empty where there is no public one. The value of a variable
    /// stands for its name in braces: `{AWS_REGION}`, or `{AWS_REGION|AWS_DEFAULT_REGION}`.
    pub(crate) base_url: &'static str,
    /// The variable that names another base URL, and what the vendor's own tools write there.
    pub(crate) base_url_variable: Option<(&'static str, UrlForm)>,
    /// In the order of the vendor's own SDK.
    pub(crate) key_variables: &'static [&'static str],
    /// Those of them that hold a token, which goes as `Authorization: Bearer` whatever the
    /// protocol's own header is.
    pub(crate) bearer_variables: &'static [&'static str],
    /// Whether a request without a key is hopeless.
    pub(crate) key_required: bool,
    /// Headers that carry the values of variables, where those are set.
    pub(crate) header_variables: &'static [(&'static str, &'static str)],
    /// How the names of its models begin. Where several rows have one, none of them is chosen.
    pub(crate) model_prefixes: &'static [&'static str],
    pub(crate) protocol: Protocol,
    /// The vendor's own host, and the protocol that a model is asked in there, by the beginning of
    /// its name. The first that fits decides.
    pub(crate) protocols_at: Option<(&'static str, &'static [(&'static str, Protocol)])>,
    /// The kinds of `tool_choice` that the server is known to ignore, and what to do instead.
    pub(crate) ignored_tool_choices: &'static [(&'static str, &'static str)],
    /// Its whole answers may end with `[DONE]` alone, without a finish reason and usage. Elsewhere
    /// an answer that was interrupted ends so.
    pub(crate) ends_without_reason: bool,
    /// How its Chat Completions differ from the common form.
    pub(crate) dialect: Dialect,
}

/// What a variable that names a base URL holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UrlForm {
    /// The whole base URL.
    Whole,
    /// The base URL without this version, which the vendor's own tools add to it.
    WithoutVersion(&'static str),
    /// The address that Ollama's server listens on.
    OllamaHost,
}

impl Vendor {
    /// What a row without braces means.
    pub(super) const fn compatible(
        base_url: &'static str,
        key_variables: &'static [&'static str],
    ) -> Self {
        Self {
            base_url,
            base_url_variable: None,
            key_variables,
            bearer_variables: &[],
            key_required: true,
            header_variables: &[],
            model_prefixes: &[],
            protocol: Protocol::ChatCompletions,
            protocols_at: None,
            ignored_tool_choices: &[],
            ends_without_reason: false,
            dialect: Dialect::COMMON,
        }
    }
}
