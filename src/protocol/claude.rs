//! How Anthropic's models differ in what they are told.

/// A model's name without what a host writes before it (`us.anthropic.`, `anthropic/`), if it is one
/// of Anthropic's.
pub(super) fn name(model: &str) -> Option<&str> {
    model.get(model.find("claude-")?..)
}
