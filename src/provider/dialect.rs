//! How vendors differ in Chat Completions: [`Dialect`].

/// How a vendor's Chat Completions differ from the common form.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The option `max_tokens`, and after `=` what it is called if that differs.
    pub(crate) max_tokens: &'static str,
    /// The same of `seed`.
    pub(crate) seed: &'static str,
    /// The value of `tool_choice` for [`ToolChoice::Required`](crate::ToolChoice::Required).
    pub(crate) required: &'static str,
    /// What to ask for with the stream; nothing where the vendor refuses the field.
    pub(crate) stream_options: &'static [(&'static str, bool)],
    /// Options of the common form that it refuses.
    pub(crate) refuses: &'static [&'static str],
}

impl Dialect {
    /// What nearly every compatible server understands.
    pub(crate) const COMMON: Self = Self {
        max_tokens: "max_tokens",
        seed: "seed",
        required: "required",
        stream_options: &[("include_usage", true)],
        refuses: &[],
    };

    /// Newer models refuse `max_tokens`. Random padding that hides the length of a token from
    /// eavesdroppers doubles the bytes of a stream; we ask for none.
    pub(crate) const OPENAI: Self = Self {
        max_tokens: "max_tokens=max_completion_tokens",
        stream_options: &[("include_usage", true), ("include_obfuscation", false)],
        refuses: &["top_k"],
        ..Self::COMMON
    };

    /// It refuses `stream_options` and sends the usage anyway.
    pub(crate) const MISTRAL: Self = Self {
        seed: "seed=random_seed",
        required: "any",
        stream_options: &[],
        refuses: &["top_k", "logprobs"],
        ..Self::COMMON
    };
}
