"""HTTP/2 conformance: cases by section of RFC 9113 and 7541, and a public suite if it is there."""
