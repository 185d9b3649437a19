//! Configured HTTP names: which methods are known, which paths have a route.
//!
//! In: the patterns and methods of the configuration. Out: [`HttpRules`], compiled once, which names a method by its index and
//! finds a path's route.
//!
//! A pattern is matched against the request's path as sent (not decoded, without the query), segment by segment between
//! slashes:
//! * a plain segment matches the same text, case included;
//! * `{name}` matches one segment that is not empty;
//! * `*` as the last segment matches the rest, slashes included, even an empty one (`/static/*` takes `/static/` and
//!   `/static/a/b`, not `/static`);
//! * a trailing slash counts: `/a` does not match `/a/`.
//!
//! The first pattern that matches wins. Only servers have routes.

/// Known methods of the conventions: RFC 9110, PATCH, QUERY.
const STANDARD: [&str; 10] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

/// A request method, as far as it may become part of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Index into the known methods.
    Known(u16),
    /// Seen, but not known: `_OTHER`.
    Other,
    /// Not seen.
    Missing,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Text(Box<str>),
    One,
}

#[derive(Debug)]
struct Route {
    pattern: Box<str>,
    segments: Vec<Segment>,
    rest: bool,
}

impl Route {
    fn compile(pattern: &str) -> Self {
        let mut segments: Vec<Segment> = split(pattern)
            .map(|segment| match segment {
                _ if segment.len() > 2 && segment.starts_with('{') && segment.ends_with('}') => Segment::One,
                _ => Segment::Text(segment.into()),
            })
            .collect();
        let rest = segments.pop_if(|last| *last == Segment::Text("*".into())).is_some();
        Self { pattern: pattern.into(), segments, rest }
    }

    fn matches(&self, path: &str) -> bool {
        let mut given = split(path);
        let begin = self.segments.iter().all(|segment| match (segment, given.next()) {
            (_, None) => false,
            (Segment::Text(text), Some(given)) => **text == *given,
            (Segment::One, Some(given)) => !given.is_empty(),
        });
        begin && given.next().is_some() == self.rest
    }
}

/// The segments between slashes; the slash in front of the first one is not a separator.
fn split(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// The operator's names for HTTP.
#[derive(Debug)]
pub struct HttpRules {
    routes: Vec<Route>,
    methods: Vec<Box<str>>,
}

impl HttpRules {
    /// Compiles route patterns in order of preference; `methods` replaces the standard ones.
    #[must_use]
    pub fn new(routes: &[String], methods: Option<&[String]>) -> Self {
        Self {
            routes: routes.iter().map(|pattern| Route::compile(pattern)).collect(),
            methods: match methods {
                None => STANDARD.iter().map(|&method| method.into()).collect(),
                Some(methods) => {
                    methods.iter().take(usize::from(u16::MAX)).map(|method| method.as_str().into()).collect()
                }
            },
        }
    }

    /// Index of the first pattern that matches a path.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<u32> {
        self.routes.iter().position(|route| route.matches(path)).and_then(|index| u32::try_from(index).ok())
    }

    /// The text of a pattern.
    #[must_use]
    pub fn pattern(&self, route: u32) -> Option<&str> {
        self.routes.get(route as usize).map(|route| &*route.pattern)
    }

    /// Looks a method up, case included.
    #[must_use]
    pub fn method(&self, sent: Option<&str>) -> Method {
        let Some(sent) = sent else { return Method::Missing };
        let index = self.methods.iter().position(|known| **known == *sent);
        index.and_then(|index| u16::try_from(index).ok()).map_or(Method::Other, Method::Known)
    }

    /// Value of `http.request.method`.
    #[must_use]
    pub fn method_name(&self, method: Method) -> Option<&str> {
        match method {
            Method::Known(index) => self.methods.get(usize::from(index)).map(|known| &**known),
            Method::Other => Some("_OTHER"),
            Method::Missing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(patterns: &[&str], path: &str) -> Option<String> {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let rules = HttpRules::new(&patterns, None);
        rules.route(path).and_then(|index| rules.pattern(index)).map(str::to_owned)
    }

    #[test]
    fn routes_match_segment_by_segment_and_the_first_wins() {
        let all = ["/users/me", "/users/{id}", "/users/{id}/posts/{post}", "/static/*", "/", "/files/{name}/*"];
        for (path, expected) in [
            ("/users/me", Some("/users/me")),
            ("/users/42", Some("/users/{id}")),
            ("/users/", None),
            ("/users", None),
            ("/users/42/", None),
            ("/users/42/posts/7", Some("/users/{id}/posts/{post}")),
            ("/USERS/42", None),
            ("/static", None),
            ("/static/", Some("/static/*")),
            ("/static/a/b.css", Some("/static/*")),
            ("/", Some("/")),
            ("", Some("/")),
            ("*", None),
            ("/files/x", None),
            ("/files/x/y/z", Some("/files/{name}/*")),
            ("/files//y", None),
            ("/users/%2F", Some("/users/{id}")),
        ] {
            assert_eq!(route(&all, path).as_deref(), expected, "{path}");
        }
        assert_eq!(route(&["/*"], "/any/thing").as_deref(), Some("/*"));
        assert_eq!(route(&["/users/{id}", "/users/me"], "/users/me").as_deref(), Some("/users/{id}"));
        assert_eq!(route(&["/a/*/b"], "/a/*/b").as_deref(), Some("/a/*/b"), "a star elsewhere is text");
        assert_eq!(route(&["/a/{}"], "/a/b"), None, "braces without a name are text");
    }

    #[test]
    fn methods_are_known_by_case_and_can_be_replaced() {
        let standard = HttpRules::new(&[], None);
        for known in STANDARD {
            assert_eq!(standard.method_name(standard.method(Some(known))), Some(known));
        }
        assert_eq!(standard.method(Some("get")), Method::Other);
        assert_eq!(standard.method(Some("PROPFIND")), Method::Other);
        assert_eq!(standard.method(None), Method::Missing);
        let own = HttpRules::new(&[], Some(&["PROPFIND".to_owned()]));
        assert_eq!(own.method_name(own.method(Some("PROPFIND"))), Some("PROPFIND"));
        assert_eq!(own.method(Some("GET")), Method::Other);
    }
}
