//! Whether a caller wants metrics as Prometheus reads them. JSON is the default, for VALET's and
//! everybody's HTTP client.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// How much a caller wants a media type: the quality of the range that names it most closely, and
/// how closely that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
struct Wish {
    quality: f32,
    closeness: u8,
}

/// True where the `Accept` headers (RFC 9110, 12.5.1) prefer one of Prometheus's text formats to
/// JSON. Who takes both alike, as `*/*` does, gets JSON.
pub(super) fn asks_for_text(headers: &HeaderMap) -> bool {
    let ranges = || {
        let readable = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        readable.flat_map(|value| value.split(','))
    };
    let text = wish(ranges(), "text", "plain");
    let newer_text = wish(ranges(), "application", "openmetrics-text");
    let json = wish(ranges(), "application", "json");
    text > json || newer_text > json
}

fn wish<'a>(ranges: impl Iterator<Item = &'a str>, kind: &str, subtype: &str) -> Wish {
    let mut wish = Wish::default();
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let Some((its_kind, its_subtype)) = parts.next().and_then(|media| media.split_once('/'))
        else {
            continue;
        };
        let closeness = match (its_kind, its_subtype) {
            ("*", "*") => 1,
            (its, "*") if its.eq_ignore_ascii_case(kind) => 2,
            (its, sub) if its.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => 3,
            _ => continue,
        };
        let quality = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.eq_ignore_ascii_case("q").then(|| value.parse().unwrap_or(0.0))
        });
        let quality = quality.unwrap_or(1.0_f32).clamp(0.0, 1.0);
        if closeness > wish.closeness || closeness == wish.closeness && quality > wish.quality {
            wish = Wish { quality, closeness };
        }
    }
    // What is refused is wanted no more for being named.
    if wish.quality > 0.0 { wish } else { Wish::default() }
}

#[cfg(test)]
mod tests {
    use super::asks_for_text;
    use hyper::HeaderMap;
    use hyper::header::{ACCEPT, HeaderValue};

    fn asks(accept: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        asks_for_text(&headers)
    }

    #[test]
    fn what_prometheus_sends_asks_for_text() {
        for accept in [
            // 2.0 to 2.4, and vmagent.
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            // 2.42, Debian 12's.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // 2.4x with native histograms.
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // 3.x.
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "text/plain",
            "Text/Plain; version=0.0.4",
            "application/openmetrics-text",
            "text/plain, */*",
            "application/json;q=0.5, text/plain",
            "application/json;q=0, text/plain;q=0.1",
        ] {
            assert!(asks(&[accept]), "{accept}");
        }
        assert!(asks(&["*/*;q=0.1", "text/plain"]), "two headers are one list");
    }

    #[test]
    fn every_other_caller_gets_json() {
        for accept in [
            "*/*",
            "",
            "application/json",
            "text/html",
            // axios, a browser, and a fetch that asks for nothing.
            "application/json, text/plain, */*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            "application/*",
            "text/plain;q=0",
            "text/plain;q=0, */*",
            "application/json;q=0.9, text/plain;q=0.8",
            "text/plain;q=nonsense",
            "plain",
            ";;,,/,",
        ] {
            assert!(!asks(&[accept]), "{accept}");
        }
        assert!(!asks(&[]));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_bytes(b"text/plain\xff").unwrap());
        assert!(!asks_for_text(&headers));
    }
}
