//! The sources of an answer, and the places that cite them: [`Source`] and [`Citation`].

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::redact::one_line;

/// A source of an answer, such as a web page or a document that you gave.
///
/// `Display` writes the title and the URL in one line that is safe to print: control characters
/// are made visible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Source {
    /// The number for a footnote: the position in
    /// [`GenerationResponse::sources`](crate::GenerationResponse::sources), from 1. All chunks
    /// give the same source the same number. Sources that are only found have numbers, too.
    pub number: usize,
    /// The provider's ID of the source, such as that of a document or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The URL. `None` if the source is not a web page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The title, or the name of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The places of the answer that cite the source. In a chunk, these are only the new ones. The
    /// list is empty if the source was found, but is not cited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
}

/// A place of an answer that cites a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Citation {
    /// The part of [`GenerationResponse::content`](crate::GenerationResponse::content) that the
    /// source supports, in bytes. At OpenAI and xAI it is the link to the source instead, if the
    /// text has one. It can always be used as an index of the text that has arrived.
    ///
    /// `None` if the provider does not tell the place. In a chunk, it is `None` also if the place is
    /// in text that arrives later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Range<usize>>,
    /// The words of the source. They are empty if the provider does not quote them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub quote: String,
}

impl Source {
    /// Returns the number of bytes that the texts of this source take.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.id, &self.url, &self.title].into_iter().flatten();
        let quotes = self.citations.iter().map(|citation| &citation.quote);
        texts.chain(quotes).map(String::len).sum()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.title, &self.url) {
            (Some(title), Some(url)) => write!(f, "{} <{}>", one_line(title), one_line(url)),
            (None, Some(url)) => write!(f, "<{}>", one_line(url)),
            (title, None) => {
                f.write_str(&one_line(title.as_ref().or(self.id.as_ref()).map_or("", |it| it)))
            }
        }
    }
}
