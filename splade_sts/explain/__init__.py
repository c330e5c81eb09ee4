"""A page on which a person sees why models find two sentences similar."""
