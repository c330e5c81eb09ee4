"""What tests share: tiny models and data, projects to run, commands, a server that starts stages
quickly.
"""
