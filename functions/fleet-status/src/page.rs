//! The page: one document with its style and its script in it, and headers that let it do nothing
//! else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleet_lambda::Reply;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const DOCUMENT: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/style.css");
const SCRIPT: &str = concat!(
    include_str!("../page/words.js"),
    include_str!("../page/api.js"),
    include_str!("../page/charts.js"),
    include_str!("../page/fleet.js"),
    include_str!("../page/rollouts.js"),
    include_str!("../page/actions.js"),
    include_str!("../page/main.js"),
);

/// Where the style and the script go.
const STYLE_PLACE: &str = "/*style*/";
const SCRIPT_PLACE: &str = "/*script*/";

struct Page {
    html: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| Page {
    html: DOCUMENT.replacen(STYLE_PLACE, STYLE, 1).replacen(SCRIPT_PLACE, SCRIPT, 1),
    policy: format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(SCRIPT),
        source(STYLE)
    ),
});

/// The hash by which a browser knows an inline script or style that it may use.
fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

pub(crate) fn reply() -> Reply {
    Reply::new(200, "text/html; charset=utf-8", PAGE.html.as_str())
        .header("content-security-policy", PAGE.policy.as_str())
        .header("cross-origin-opener-policy", "same-origin")
        .header("cross-origin-resource-policy", "same-origin")
        .header("permissions-policy", "camera=(), geolocation=(), microphone=()")
        .header("referrer-policy", "no-referrer")
        .header("strict-transport-security", "max-age=31536000")
        .header("x-frame-options", "DENY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_whole_and_asks_nobody_else() {
        let answer = reply().into_response();
        let html = answer["body"].as_str().unwrap();
        assert!(html.len() <= 100_000, "{} bytes", html.len());
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        assert!(!html.contains(STYLE_PLACE) && !html.contains(SCRIPT_PLACE));
        // The namespace of SVG is a name and not an address.
        let html = html.replace("http://www.w3.org/2000/svg", "");
        for elsewhere in
            ["http://", "https://", "src=", "@import", "url(", "<link rel=\"stylesheet\""]
        {
            assert!(!html.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn nothing_in_it_needs_what_the_policy_forbids() {
        let policy = reply().into_response()["headers"]["content-security-policy"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains(&source(SCRIPT)) && policy.contains(&source(STYLE)), "{policy}");
        for inline in [" style=\"", " onclick=", "javascript:", "innerHTML", "eval("] {
            assert!(!DOCUMENT.contains(inline) && !SCRIPT.contains(inline), "{inline}");
        }
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }
}
