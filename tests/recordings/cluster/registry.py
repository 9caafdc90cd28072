"""A read-only OCI registry over a folder: registry.py ADDRESS PORT FOLDER. What is called private… wants credentials."""
import http.server, json, os, re, sys

root = sys.argv[3]


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = re.fullmatch(r"/v2/(?:(.+)/(manifests|blobs)/([\w.:-]+))?(?:\?.*)?", self.path)
        status, body, kind, ref = 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}', "application/json", ""
        if asked and not asked[1]:
            status, body = 200, b"{}"
        elif asked and asked[1].startswith("private"):
            status, body = 401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        elif asked:
            ref = asked[3]
            tag = f"{root}/refs/{asked[1]}:{ref}"
            if os.path.exists(tag):
                ref = open(tag).read().strip()
            if os.path.exists(f"{root}/blobs/{ref}"):
                status, body, kind = 200, open(f"{root}/blobs/{ref}", "rb").read(), "application/octet-stream"
                if asked[2] == "manifests":
                    kind = json.loads(body)["mediaType"]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        if status == 200 and ref:
            self.send_header("Docker-Content-Digest", ref)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET


http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Registry).serve_forever()
