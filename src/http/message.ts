/** The message model, for the folders above that know no codec. */
export { framingNames, getField, removeField, setField } from '../codec/http-message.ts';
export type { FieldList, RequestHead, ResponseHead } from '../codec/http-message.ts';
