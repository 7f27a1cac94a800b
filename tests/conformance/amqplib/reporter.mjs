// Reports each test of `node --test` on one line: `pass NAME`, `fail NAME` or `skip NAME`, with the names of what it is
// part of before its own. Why a test failed follows, indented.
const path = [];

export default async function* reporter(source) {
  for await (const { type, data } of source) {
    if (type === 'test:start') {
      path.splice(data.nesting, path.length, data.name);
    } else if (type === 'test:pass' || type === 'test:fail') {
      if (data.details?.type === 'suite' || data.name.endsWith('.js')) continue;
      const name = [...path.slice(0, data.nesting), data.name].filter((part) => !part.endsWith('.js'));
      const end = data.skip || data.todo ? 'skip' : type === 'test:pass' ? 'pass' : 'fail';
      yield `${end} ${name.join('/').replaceAll(/\s+/g, '_')} ${data.details.duration_ms}\n`;
      if (end === 'fail') {
        const error = data.details.error?.cause ?? data.details.error;
        yield `    ${String(error?.stack ?? error).replaceAll('\n', '\n    ')}\n`;
      }
    }
  }
}
