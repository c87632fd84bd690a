//! What is answered to a request for a bundle. Pure.

use cofide_core::Bundle;
use cofide_svid::bundle::to_jwks;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use sha2::{Digest, Sha256};

/// Seconds after which a partner should look again, where the bundle gives no hint of its own; as in SPIRE.
const REFRESH_HINT: u64 = 300;
/// Caches may answer for so many seconds by themselves: a revoked authority is not to live long in one.
const MAX_AGE: &str = "public, max-age=10, must-revalidate";

/// The bundle as it is published (SPIFFE Trust Domain and Bundle, section 4).
pub fn document(bundle: &Bundle) -> String {
    let refresh_hint = if bundle.refresh_hint == 0 { REFRESH_HINT } else { bundle.refresh_hint };
    to_jwks(&Bundle { refresh_hint, ..bundle.clone() })
}

/// `found` is what there is at the path of the request, or why there is nothing.
pub(crate) fn answer(found: Result<Bundle, &'static str>, method: &Method, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let bundle = match found {
        Ok(bundle) => bundle,
        Err(reason) => return refusal(StatusCode::NOT_FOUND, format!("404 not found; {reason}\n")),
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let body = document(&bundle);
    // By which a cache knows it.
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
    let is_held = holds(headers, &tag);
    let mut response = Response::new(Full::default());
    let given = response.headers_mut();
    given.insert(header::ETAG, HeaderValue::from_str(&tag).expect("a tag is hexadecimal"));
    given.insert(header::CACHE_CONTROL, HeaderValue::from_static(MAX_AGE));
    if is_held {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    given.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    given.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if *method == Method::GET {
        *response.body_mut() = Full::from(body);
    }
    response
}

/// Whether the client says that it holds this already (RFC 9110, section 13.1.2: compared weakly).
fn holds(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = given.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}

fn refusal(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofide_core::TrustDomain;
    use cofide_svid::authority::{self, X509CertificateAuthority, X509Settings};
    use cofide_svid::bundle::from_jwks;
    use http_body_util::BodyExt;

    fn bundle() -> Bundle {
        let domain = TrustDomain::new("a.test").unwrap();
        let authority = X509CertificateAuthority::create(domain, X509Settings::default(), std::time::SystemTime::now()).unwrap();
        Bundle { sequence_number: 7, ..authority::bundle(&authority, None, 0) }
    }

    async fn asked(found: Result<&Bundle, &'static str>, method: &Method, tag: Option<&str>) -> (Response<Full<Bytes>>, Bytes) {
        let mut headers = HeaderMap::new();
        if let Some(tag) = tag {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
        }
        let response = answer(found.cloned(), method, &headers);
        let body = response.clone().collect().await.unwrap().to_bytes();
        (response, body)
    }

    #[tokio::test]
    async fn a_bundle_is_served_with_its_tag_its_number_and_a_hint() {
        let bundle = bundle();
        let (response, body) = asked(Ok(&bundle), &Method::GET, None).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let read = from_jwks(&bundle.trust_domain, &body).unwrap();
        assert!(read.same_authorities(&bundle));
        assert_eq!((read.sequence_number, read.refresh_hint), (7, 300));
        let tag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
        for held in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
            let (response, body) = asked(Ok(&bundle), &Method::GET, Some(&held)).await;
            assert_eq!((response.status(), body.len()), (StatusCode::NOT_MODIFIED, 0), "{held}");
            assert_eq!(response.headers()[header::ETAG], tag.as_str());
        }
        assert_eq!(asked(Ok(&bundle), &Method::GET, Some("\"x\"")).await.0.status(), StatusCode::OK);
        let (head, nothing) = asked(Ok(&bundle), &Method::HEAD, None).await;
        assert_eq!((head.status(), nothing.len()), (StatusCode::OK, 0));
        assert_eq!(head.headers()[header::CONTENT_LENGTH], body.len().to_string().as_str());

        // Another number is another document, so that a partner sees what is newer.
        let newer = Bundle { sequence_number: 8, ..bundle };
        assert_eq!(asked(Ok(&newer), &Method::GET, Some(&tag)).await.0.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found_and_not_cached() {
        let (response, body) = asked(Err("there is none"), &Method::GET, None).await;
        assert_eq!((response.status(), &*body), (StatusCode::NOT_FOUND, b"404 not found; there is none\n".as_slice()));
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[tokio::test]
    async fn a_bundle_can_be_read_and_nothing_else() {
        let (response, _) = asked(Ok(&bundle()), &Method::POST, None).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }
}
