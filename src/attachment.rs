//! The files that a message contains besides its text: [`Attachment`].

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::endpoint;

/// A picture for the model in a user message, or a picture or sound that the model made.
///
/// In a message, an attachment whose media type is unknown, or does not begin with `image/`, is an
/// error before the request is sent. The error contains the attachment's name, if it has one.
///
/// ```
/// use kerb_stream::{Attachment, Message};
///
/// let picture = Attachment::url("https://example.com/a.png");
/// let question = Message::user("What is this?").attach(picture);
/// assert_eq!(question.attachments[0].media_type.as_deref(), Some("image/png"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attachment {
    /// The media type, such as `image/png`. Set it if it was not found: without it, the request is
    /// an error. Sound in a stream of OpenAI is `audio/pcm`, in OpenAI's format `pcm16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The file name, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(flatten)]
    data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Data {
    /// The URL from which the provider fetches the file.
    Url(String),
    /// The content of the file, as standard base64 with padding.
    Base64(String),
}

impl Attachment {
    /// Reads a file. The media type follows from the file extension, or else from the first bytes.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn from_path(path: impl AsRef<Path>) -> anyhow::Result<Self> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let by_name = name.as_deref().and_then(media_type_of_name);
        let media_type = by_name.or_else(|| media_type_of_bytes(&bytes)).map(str::to_owned);
        Ok(Self { media_type, name, data: Data::Base64(BASE64.encode(bytes)) })
    }

    /// Creates an attachment from bytes. `media_type` is, for example, `image/png`.
    pub fn bytes(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::from_base64(media_type.into(), BASE64.encode(bytes))
    }

    pub(crate) fn from_base64(media_type: impl Into<String>, base64: impl Into<String>) -> Self {
        Self { media_type: Some(media_type.into()), name: None, data: Data::Base64(base64.into()) }
    }

    /// Creates an attachment that the provider fetches from `url`.
    ///
    /// The media type follows from the file extension in the URL's path. If there is none, set
    /// [`media_type`](Self::media_type). A `data:` URL with base64 gives the same attachment as
    /// [`bytes`](Self::bytes) does with the media type and the bytes that the URL contains.
    pub fn url(url: impl Into<String>) -> Self {
        let url = url.into();
        if let Some((media_type, base64)) =
            url.strip_prefix("data:").and_then(|data| data.split_once(";base64,"))
        {
            return Self::from_base64(media_type.to_owned(), base64.to_owned());
        }
        let media_type = media_type_of_name(&endpoint::redacted(&url)).map(str::to_owned);
        Self { media_type, name: None, data: Data::Url(url) }
    }

    /// Returns the bytes. It returns `None` if there is only a URL, or if the base64 is invalid.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.base64()?).ok()
    }

    /// Returns the URL, if the provider has to fetch the file.
    pub fn as_url(&self) -> Option<&str> {
        let Data::Url(url) = &self.data else { return None };
        Some(url)
    }

    /// Returns the bytes as standard base64.
    pub(crate) fn base64(&self) -> Option<&str> {
        let Data::Base64(base64) = &self.data else { return None };
        Some(base64)
    }

    /// Returns the URL, or a `data:` URL with the bytes.
    pub(crate) fn to_url(&self) -> String {
        match &self.data {
            Data::Url(url) => url.clone(),
            Data::Base64(base64) => {
                let media_type = self.media_type.as_deref().unwrap_or_default();
                format!("data:{media_type};base64,{base64}")
            }
        }
    }

    /// Returns the number of bytes that the content or the URL takes here.
    pub(crate) fn size(&self) -> usize {
        match &self.data {
            Data::Url(text) | Data::Base64(text) => text.len(),
        }
    }

    pub(crate) fn is_image(&self) -> bool {
        let kind = self.media_type.as_deref().and_then(|media_type| media_type.get(..6));
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("image/"))
    }

    /// Returns a name for error messages: the file name, or the last segment of the URL's path.
    pub(crate) fn label(&self) -> Option<String> {
        let of_url = || Some(endpoint::redacted(self.as_url()?).rsplit('/').next()?.to_owned());
        self.name.clone().or_else(of_url)
    }
}

/// File extensions, each after its media type.
const MEDIA_TYPES: &str = "application/pdf.pdf audio/mpeg.mp3 audio/wav.wav image/bmp.bmp image/gif.gif \
    image/heic.heic image/heif.heif image/jpeg.jpeg image/jpeg.jpg image/png.png image/svg+xml.svg \
    image/tiff.tiff image/webp.webp text/plain.txt";

fn media_type_of_name(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit('/').next()?.rsplit_once('.')?;
    MEDIA_TYPES.split_whitespace().find_map(|row| {
        let (media_type, known) = row.split_once('.')?;
        ending.eq_ignore_ascii_case(known).then_some(media_type)
    })
}

fn media_type_of_bytes(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'%', b'P', b'D', b'F', ..] => Some("application/pdf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_follows_from_the_name_and_then_from_the_bytes() {
        let folder = std::env::temp_dir().join(format!("kerb-stream-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes, media_type) in [
            ("a.JPG", &b"x"[..], Some("image/jpeg")),
            ("a.pdf", b"x", Some("application/pdf")),
            ("png.", b"\x89PNG\r\n\x1a\n", Some("image/png")),
            ("webp", b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            ("jpeg", b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            ("gif", b"GIF89a", Some("image/gif")),
            ("none", b"x", None),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            let attachment = Attachment::from_path(&path).unwrap();
            assert_eq!(attachment.media_type.as_deref(), media_type, "{name}");
            assert_eq!(attachment.name.as_deref(), Some(name));
            assert_eq!(attachment.to_bytes().as_deref(), Some(bytes));
            assert_eq!(attachment.as_url(), None);
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let error = format!("{:#}", Attachment::from_path(folder.join("a.png")).unwrap_err());
        assert!(error.starts_with("cannot read ") && error.contains("a.png: "), "{error}");
    }

    #[test]
    fn a_url_is_kept_and_a_data_url_taken_apart() {
        for (url, media_type, label) in [
            ("https://a/b/c.png?x=/d.gif#e.jpg", Some("image/png"), "c.png"),
            ("https://a.png/b", None, "b"),
        ] {
            let attachment = Attachment::url(url);
            assert_eq!(attachment.media_type.as_deref(), media_type);
            assert_eq!(
                (attachment.as_url(), attachment.label()),
                (Some(url), Some(label.to_owned()))
            );
            assert_eq!(attachment.to_url(), url);
            assert_eq!(attachment.to_bytes(), None);
        }
        let given = Attachment::url("data:image/gif;base64,Zm9v");
        assert_eq!(given, Attachment::bytes("image/gif", b"foo"));
        assert_eq!(given.to_url(), "data:image/gif;base64,Zm9v");
    }

    #[test]
    fn it_is_saved_with_its_message() {
        for attachment in
            [Attachment::bytes("image/png", b"foo"), Attachment::url("https://a/b.png")]
        {
            let saved = serde_json::to_string(&attachment).unwrap();
            assert_eq!(serde_json::from_str::<Attachment>(&saved).unwrap(), attachment, "{saved}");
        }
        let saved = serde_json::to_value(Attachment::bytes("image/png", b"foo")).unwrap();
        assert_eq!(saved, serde_json::json!({"media_type": "image/png", "base64": "Zm9v"}));
    }
}
