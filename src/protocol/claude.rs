//! How Anthropic's models differ in what they are told.

/// Models that take a system message inside the conversation. Others refuse it, but for Claude
/// Sonnet 5, which passes over it.
/// (<https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages>)
const WITH_SYSTEM_INSIDE: &[&str] = &[
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5",
    "claude-mythos-5",
];

/// The name of one of Anthropic's models, as Anthropic writes it: hosts write something before it
/// (`us.anthropic.`, `anthropic/`), and OpenRouter its version with a dot.
pub(super) fn name(model: &str) -> Option<String> {
    Some(model.get(model.find("claude-")?..)?.replace('.', "-"))
}

pub(super) fn takes_system_inside(model: &str) -> bool {
    name(model).is_some_and(|name| WITH_SYSTEM_INSIDE.iter().any(|known| name.starts_with(known)))
}
